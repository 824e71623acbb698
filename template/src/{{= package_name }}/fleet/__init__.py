"""For many devices: where they report to, where they find their models, and how to install them."""
