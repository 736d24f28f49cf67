// Package seal encrypts recordings, so that a stolen disk opens nothing. A
// recording is sealed to public keys; who has a private one opens it, and the
// server that made it need not be among them.
//
// [Age] is the scheme: files of the age format (https://age-encryption.org/v1),
// which the stock age program opens. A site that needs another (GOST, FIPS)
// implements [Sealer].
package seal

import (
	"errors"
	"io"
)

// ErrNoIdentity says that none of the private keys at hand opens what was
// sealed: the usual case on a server without a key of its own, not damage.
var ErrNoIdentity = errors.New("sealed, and no key at hand opens it")

// ErrDamaged says that something sealed is not what was sealed: cut, changed,
// or no sealed file at all.
var ErrDamaged = errors.New("sealed data are damaged")

// Sealer seals recordings. Its methods are safe for concurrent use.
type Sealer interface {
	// Scheme names the format, for manifests: "age".
	Scheme() string
	// Extension is what sealing appends to a file's name: ".age".
	Extension() string
	// NewKey makes the key of one recording. sealed is that key for keeping
	// beside the recording: OpenKey gets it back with a private key.
	NewKey() (key Key, sealed []byte, err error)
	// OpenKey opens what NewKey sealed. The error wraps ErrNoIdentity or
	// ErrDamaged.
	OpenKey(sealed []byte) (Key, error)
	// SealFile returns a writer that seals a file into dst as it goes through.
	// Closing it completes the file; it does not close dst. key is that of the
	// recording.
	SealFile(dst io.Writer, key Key) (io.WriteCloser, error)
	// OpenFile opens a sealed file of the given size at any place, and says how
	// long its content is. keys are those of the recording, if they are known.
	// What is read is authenticated: damage is an error, here or at the read
	// that meets it. The error wraps ErrNoIdentity or ErrDamaged.
	OpenFile(src io.ReaderAt, size int64, keys ...Key) (io.ReaderAt, int64, error)
}

// Key belongs to one recording and seals its spool while it is being written.
// It costs microseconds a record, where public keys cost milliseconds.
type Key interface {
	// SealRecord appends a sealed record to dst.
	SealRecord(dst, record []byte) ([]byte, error)
	// OpenRecord opens a sealed record. Of one that was cut or changed it
	// returns what is authentic at its beginning, with an error that wraps
	// ErrDamaged; with another key's, one that wraps ErrNoIdentity.
	OpenRecord(sealed []byte) ([]byte, error)
	// Marker is how every sealed record begins: after damage it is looked for.
	Marker() []byte
}
