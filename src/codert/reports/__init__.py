"""What people are shown: pages, their pictures, and what is in them."""
