"""Files of `ticktape export` as a source. Trades are taken by their venue's ids, which are dense."""
