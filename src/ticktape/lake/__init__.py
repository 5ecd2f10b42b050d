"""History: Delta tables of Parquet files, and how they are asked."""
