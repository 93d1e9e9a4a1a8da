"""What runs on a node with rights over a Pod's network: its plumbing, its gates, its announcements."""
