"""Labels of events from their content: what kind of event this is and what becomes of it."""
