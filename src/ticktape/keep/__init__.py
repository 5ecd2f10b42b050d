"""The process that keeps: for now it trims the tape; the lake comes next."""
