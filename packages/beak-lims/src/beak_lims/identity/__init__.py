"""How a tenant's users log in, and what their tokens say. No platform user is one of them."""
