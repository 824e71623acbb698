"""What devices report to, and where they find their models."""
