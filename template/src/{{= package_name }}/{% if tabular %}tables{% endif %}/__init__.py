"""Tables in CSV and Parquet files: their cells, and what each column contains."""
