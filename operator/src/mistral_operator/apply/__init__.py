"""From desired children to live ones: what differs, what is done about it, and doing it."""
