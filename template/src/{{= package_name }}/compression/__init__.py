"""The search for the smallest file that keeps every promise."""
