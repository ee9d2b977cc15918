#!/bin/sh
# All scripted dialogues against the session code.
exec ./t/dialogue "$srcdir"/t/dlg/*.dlg
