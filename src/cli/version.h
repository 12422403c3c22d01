/*
 * Which Holdfast this is. The number comes from the file VERSION, the commit from git when the
 * binary was built; both through meson.
 */
#ifndef HF_CLI_VERSION_H
#define HF_CLI_VERSION_H

/* "0.1.0" */
const char *version_number(void);

/* The commit, shortened, with "-dirty" behind it if the tree had changes; "" outside of git. */
const char *version_commit(void);

#endif
