"""What a record and an event are: schemas, parsing and validation, the simulator and the importers of real data."""
