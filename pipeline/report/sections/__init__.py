"""The parts of the report: functions from a page to Markdown text."""
