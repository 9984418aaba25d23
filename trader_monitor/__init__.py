"""The monitor that trading desks trust with their nights."""
