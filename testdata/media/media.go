// Package media embeds the short real media that tests and the load generator
// replay. make-media.sh, one directory up, says what each file is.
package media

import "embed"

// Files holds the clips, by file name.
//
//go:embed *.ivf *.ogg
var Files embed.FS
