"""What git itself may do to names that make other tools run code; `work.judge` is the door."""
