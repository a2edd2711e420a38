"""Files of strangers, by the thousand: whatever they hold, a documented error at most, soon and in little memory."""
