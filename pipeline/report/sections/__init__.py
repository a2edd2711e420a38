"""The parts of the report: functions from the facts of a run to Markdown text."""
