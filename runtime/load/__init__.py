"""A load for the shop that knows which events it must leave."""
