"""What people see of an inspection: a verdict on the terminal, a picture with boxes, a page."""
