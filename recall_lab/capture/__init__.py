"""A capture as a value: packets, index records, events, the media clock; opens no file."""
