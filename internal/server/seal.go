package server

import (
	"fmt"
	"log/slog"

	"consilium/internal/config"
	"consilium/internal/seal"
)

// newSealer returns what seals and opens recordings; nil if they lie open.
func newSealer(c config.Recording) (seal.Sealer, error) {
	if !c.Sealed() {
		return nil, nil
	}
	sealer, err := seal.NewAge(seal.AgeConfig{
		Recipients: c.Recipients, IdentityFile: c.ServerKeyFile, ShredKeys: c.ShredKeys,
	})
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return sealer, nil
}

// warnOfSealing says what a thief of the disk would have.
func warnOfSealing(c config.Config, log *slog.Logger) {
	_, dev := c.Keys[config.DevKeyID]
	switch {
	case !c.Recording.Enabled || dev:
	case !c.Recording.Sealed():
		log.Warn("RECORDINGS ARE NOT SEALED: whoever gets at the disk or a backup sees and hears them; " +
			"set recording.recipients to the public key of your archive")
	case c.ServerKeyInData():
		log.Warn("recording.server_key_file lies in the data directory: whoever takes the disk has the recordings and the key; " +
			"keep it on another disk")
	}
}
