package config

import (
	"path/filepath"
	"slices"
	"strings"

	"consilium/internal/seal"
)

// Sealed reports whether recordings are sealed.
func (r Recording) Sealed() bool { return len(r.Recipients) > 0 || r.ServerKeyFile != "" }

// ServerKeyInData reports whether the key lies where what it opens does: then
// sealing is of no use against a thief of the disk.
func (c Config) ServerKeyInData() bool {
	if c.Recording.ServerKeyFile == "" {
		return false
	}
	data, errData := filepath.Abs(c.Data)
	file, errFile := filepath.Abs(c.Recording.ServerKeyFile)
	relative, err := filepath.Rel(data, file)
	return errData == nil && errFile == nil && err == nil && !strings.HasPrefix(relative+"/", "../")
}

// sealing checks whom recordings are sealed to.
func (v *validator) sealing(r Recording) {
	for i, recipient := range r.Recipients {
		if _, err := seal.ParseRecipient(recipient); err != nil {
			v.add("recording.recipients", err.Error(), "take the line \"public key\" of age-keygen")
		}
		if slices.Contains(r.Recipients[:i], recipient) {
			v.add("recording.recipients", recipient+" stands there twice", "remove one")
		}
	}
	if r.ShredKeys && !r.Sealed() {
		v.add("recording.shred_keys", "there is nobody to seal to", "set recording.recipients, or turn it off")
	}
}
