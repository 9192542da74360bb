"""The two markers of the plugin system: `hookspec` for us, `hookimpl` for plugins."""

import pluggy

PROJECT = "cmcore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
