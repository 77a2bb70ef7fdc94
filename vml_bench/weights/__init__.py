"""Published weights and data: what exists, where it comes from, and how it is fetched and verified."""
