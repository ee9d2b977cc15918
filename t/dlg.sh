#!/bin/sh
# All scripted dialogues against the session code.
exec ./t/dlg "$srcdir"/t/dlg/*.dlg
