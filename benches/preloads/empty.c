/* The floor: nothing at all, linked with RELRO and without start files. What it costs is what the loader does for any
 * library. */
extern int nothing;
