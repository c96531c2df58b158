"""Behaviour of users from the order of their actions: what comes next, who is alike, which groups there are."""
