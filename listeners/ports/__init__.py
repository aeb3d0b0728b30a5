"""Serial and TCP ports, shared by the listeners that use them."""
