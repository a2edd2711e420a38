"""What a run read: files and hosts that its kernel was seen to read, beside those that were declared.

The places that count (`places`), the hook that sees reads (`watch`), the readers that no hook sees (`doors`), what was
seen (`observed`).
"""
