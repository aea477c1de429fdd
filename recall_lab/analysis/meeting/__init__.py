"""Tables out of events: people, speakers, transcript, chat."""
