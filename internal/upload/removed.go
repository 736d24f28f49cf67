package upload

import (
	"os"
	"path"
)

// LocalRemoved reports whether the media files of a recording under a data
// directory were removed because their copy had been verified. It needs no
// running Uploader.
func LocalRemoved(data, recording string) bool {
	s, err := look(data, recording)
	return err == nil && s.LocalRemoved != nil
}

// Located returns under which key, and as which version, a file of a recording
// lies in a store, where a verified copy of it was made. It needs no running
// Uploader.
func Located(data, recording, place, file string) (key, version string, ok bool) {
	s, err := look(data, recording)
	if err != nil || s.Place != place {
		return "", "", false
	}
	for _, o := range s.Objects {
		if o.Name == file && o.Verified {
			return o.Key, o.Copy, true
		}
	}
	return "", "", false
}

// look reads a state without an Uploader.
func look(data, recording string) (*state, error) {
	root, err := os.OpenRoot(path.Join(data, stateDir))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return states{root}.load(recording)
}
