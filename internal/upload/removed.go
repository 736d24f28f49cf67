package upload

import (
	"os"
	"path"
)

// LocalRemoved reports whether the media files of a recording under a data
// directory were removed because their copy had been verified. It needs no
// running Uploader.
func LocalRemoved(data, recording string) bool {
	root, err := os.OpenRoot(path.Join(data, stateDir))
	if err != nil {
		return false
	}
	defer root.Close()
	s, err := states{root}.load(recording)
	return err == nil && s.LocalRemoved != nil
}
