package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
)

// AgeConfig says for whom, and with what, [Age] works.
type AgeConfig struct {
	// Recipients are public keys (age1...), that of the hospital's archive
	// first. Empty: nothing can be sealed, only opened.
	Recipients []string
	// IdentityFile holds private keys (AGE-SECRET-KEY-1...), a line each. Its
	// public keys are recipients too. "": none.
	IdentityFile string
	// ShredKeys seals files to the key of their recording only. Who destroys
	// that key has made every copy unreadable, also in backups.
	ShredKeys bool
}

// Age seals with age. Make it with [NewAge].
type Age struct {
	recipients []age.Recipient
	identities []age.Identity
	shred      bool
}

var _ Sealer = (*Age)(nil)

// NewAge reads the keys. An error says which is of no use.
func NewAge(c AgeConfig) (*Age, error) {
	a := &Age{shred: c.ShredKeys}
	for _, text := range c.Recipients {
		r, err := ParseRecipient(text)
		if err != nil {
			return nil, err
		}
		a.recipients = append(a.recipients, r)
	}
	if c.IdentityFile == "" {
		return a, nil
	}
	f, err := os.Open(c.IdentityFile)
	if err != nil {
		return nil, fmt.Errorf("open identity file: %w", err)
	}
	defer f.Close()
	if a.identities, err = age.ParseIdentities(io.LimitReader(f, maxKeyBytes)); err != nil {
		return nil, fmt.Errorf("read identity file %s: want lines AGE-SECRET-KEY-1..., as age-keygen makes them: %w", c.IdentityFile, err)
	}
	for _, identity := range a.identities {
		x, ok := identity.(*age.X25519Identity)
		if !ok {
			return nil, fmt.Errorf("read identity file %s: want X25519 keys, as age-keygen makes them", c.IdentityFile)
		}
		if !slices.Contains(c.Recipients, x.Recipient().String()) {
			a.recipients = append(a.recipients, x.Recipient())
		}
	}
	return a, nil
}

// maxKeyBytes bounds a file of keys.
const maxKeyBytes = 64 << 10

// ParseRecipient reads a public key: X25519 only, which every age opens.
func ParseRecipient(text string) (*age.X25519Recipient, error) {
	r, err := age.ParseX25519Recipient(text)
	if err != nil {
		shown := text
		if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
			shown = "a private key" // must not come into a log
		}
		return nil, fmt.Errorf("%s is not a public key of age: want age1..., as age-keygen prints it", shown)
	}
	return r, nil
}

// Scheme implements [Sealer].
func (*Age) Scheme() string { return "age" }

// Extension implements [Sealer].
func (*Age) Extension() string { return ".age" }

// Seals reports whether there is anybody to seal to.
func (a *Age) Seals() bool { return len(a.recipients) > 0 }

// Opens reports whether there is a private key.
func (a *Age) Opens() bool { return len(a.identities) > 0 }

// NewKey implements [Sealer]. What it seals is an identity file of age: the
// stock program opens it, and then the recording with it.
func (a *Age) NewKey() (Key, []byte, error) {
	if !a.Seals() {
		return nil, nil, errors.New("make key: nobody to seal it to")
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, a.recipients...)
	if err != nil {
		return nil, nil, fmt.Errorf("seal key: %w", err)
	}
	if _, err := io.WriteString(w, identity.String()+"\n"); err != nil {
		return nil, nil, fmt.Errorf("seal key: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, nil, fmt.Errorf("seal key: %w", err)
	}
	key, err := newAgeKey(identity)
	return key, sealed.Bytes(), err
}

// OpenKey implements [Sealer].
func (a *Age) OpenKey(sealed []byte) (Key, error) {
	if len(a.identities) == 0 {
		return nil, fmt.Errorf("open key: %w", ErrNoIdentity)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), a.identities...)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", classify(err))
	}
	text, err := io.ReadAll(io.LimitReader(r, maxKeyBytes))
	if err != nil {
		return nil, fmt.Errorf("open key: %w", classify(err))
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("open key: %w: not a key inside", ErrDamaged)
	}
	return newAgeKey(identity)
}

// SealFile implements [Sealer]. The key of the recording is always one of the
// recipients: who wrote the file can read it back, without a private key that
// lasts.
func (a *Age) SealFile(dst io.Writer, key Key) (io.WriteCloser, error) {
	own, ok := key.(*ageKey)
	if !ok {
		return nil, errors.New("seal file: not a key of this scheme")
	}
	recipients := []age.Recipient{own.identity.Recipient()}
	if !a.shred {
		recipients = append(recipients, a.recipients...)
	}
	w, err := age.Encrypt(dst, recipients...)
	if err != nil {
		return nil, fmt.Errorf("seal file: %w", err)
	}
	return w, nil
}

// OpenFile implements [Sealer].
func (a *Age) OpenFile(src io.ReaderAt, size int64, keys ...Key) (io.ReaderAt, int64, error) {
	identities := a.identities
	for _, key := range keys {
		if own, ok := key.(*ageKey); ok {
			identities = append(identities[:len(identities):len(identities)], own.identity)
		}
	}
	if len(identities) == 0 {
		return nil, 0, fmt.Errorf("open file: %w", ErrNoIdentity)
	}
	r, plain, err := age.DecryptReaderAt(src, size, identities...)
	if err != nil {
		return nil, 0, fmt.Errorf("open file: %w", classify(err))
	}
	return authenticated{r}, plain, nil
}

// authenticated says of every error what kind it is.
type authenticated struct{ r io.ReaderAt }

// ReadAt implements [io.ReaderAt].
func (a authenticated) ReadAt(p []byte, at int64) (int, error) {
	n, err := a.r.ReadAt(p, at)
	if err != nil && err != io.EOF {
		err = classify(err)
	}
	return n, err
}

// classify tells a missing key from damage.
func classify(err error) error {
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return ErrNoIdentity
	}
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return pathError // the disk's fault
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}
