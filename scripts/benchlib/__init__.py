"""What scripts/bench-vs-apache is made of: servers, and one file for each group of its rows."""
