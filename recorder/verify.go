package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"consilium/internal/seal"
)

// VerifyOptions say what Verify looks at, and with what.
type VerifyOptions struct {
	IDs []string // recordings; empty: all of them, and the chain
	// Sealer opens sealed files, to check what they hold; without one, or
	// without its key, their sealed bytes are checked only.
	Sealer seal.Sealer
	// Fingerprint of the public key that must have signed; empty: that of the
	// data directory's own key, if it is there. See [PublicKey].
	Fingerprint string
	// Away reports whether the files of a recording were moved into another
	// store: then they need not be here. nil: none was.
	Away func(id string) bool
}

// Finding is one thing that is wrong.
type Finding struct {
	Recording string `json:"recording,omitempty"` // empty: the chain itself
	File      string `json:"file,omitempty"`
	Problem   string `json:"problem"`
}

// Report is what Verify found.
type Report struct {
	Recordings int   `json:"recordings"` // final, checked
	Files      int   `json:"files"`
	Bytes      int64 `json:"bytes"`
	// Opened files were sealed and their content was checked as well.
	Opened int `json:"opened"`
	// Away are files that lie in another store, where they were verified before
	// they left.
	Away int `json:"away"`
	// Unfinished recordings are live or wait for repair, Erased ones have left
	// a tombstone: they are no fault.
	Unfinished []string `json:"unfinished"`
	Erased     []string `json:"erased"`
	// Links of the chain; zero if it was not looked at.
	Links int `json:"links"`
	// Key is the fingerprint of the key that signed; KeyTrusted says that it is
	// the one that was asked for or lies in the data directory.
	Key        string    `json:"key"`
	KeyTrusted bool      `json:"key_trusted"`
	Findings   []Finding `json:"findings"`
}

// Verify compares recordings with their signed manifests, and the manifests
// with the chain. The error says why that could not be done; what is wrong with
// the recordings is in the report. It may run beside a server.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer root.Close()
	v := &verifier{ctx: ctx, dir: dir, root: root, options: o, seen: map[string]verified{}, stones: map[string]string{}}
	v.report.Findings, v.report.Unfinished, v.report.Erased = []Finding{}, []string{}, []string{}
	if err := v.trust(); err != nil {
		return Report{}, err
	}
	ids := o.IDs
	if len(ids) == 0 {
		if ids, err = recordingIDs(root); err != nil {
			return Report{}, fmt.Errorf("recorder: %w", err)
		}
	}
	for _, id := range ids {
		if err := v.recording(id); err != nil {
			return Report{}, fmt.Errorf("recorder: recording %s: %w", id, err)
		}
	}
	if err := v.chain(len(o.IDs) == 0); err != nil {
		return Report{}, fmt.Errorf("recorder: %w", err)
	}
	return v.report, nil
}

// verifier is one Verify.
type verifier struct {
	ctx     context.Context
	dir     string
	root    *os.Root
	options VerifyOptions
	trusted string // fingerprint; "": any key, but one for all
	report  Report
	seen    map[string]verified // by call: final manifests
	stones  map[string]string   // by call: hashes of erased manifests
}

// verified is what the chain says of a manifest.
type verified struct{ sum, previous string }

func (v *verifier) find(id, file, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{id, file, fmt.Sprintf(format, args...)})
}

// trust decides whose signature counts.
func (v *verifier) trust() error {
	v.trusted = strings.ToLower(v.options.Fingerprint)
	if v.trusted == "" {
		_, fingerprint, err := PublicKey(v.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		v.trusted = fingerprint
	}
	v.report.Key, v.report.KeyTrusted = v.trusted, v.trusted != ""
	return nil
}

// recording checks one recording. Its error is none of the recording's.
func (v *verifier) recording(id string) error {
	if !validCall(id) {
		return fs.ErrNotExist
	}
	dir := path.Join(recordingsDir, id)
	entries, err := fs.ReadDir(v.root.FS(), dir)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if slices.Contains(names, tombstoneName) {
		v.erased(id, dir, names)
		return nil
	}
	text, err := readFile(v.root, path.Join(dir, manifestName), maxManifestBytes)
	if err != nil {
		v.find(id, manifestName, "can't be read: %s", reason(err))
		return nil
	}
	m, err := decodeManifest(text)
	if err != nil {
		v.find(id, manifestName, "%v", err)
		return nil
	}
	if _, err := v.root.Lstat(path.Join(spoolDir, id)); err == nil || m.State == Live || m.State == Locked {
		v.report.Unfinished = append(v.report.Unfinished, id)
		return nil
	}
	v.report.Recordings++
	v.seen[id] = verified{hexSum(text), m.Previous}
	if m.Call != id {
		v.find(id, manifestName, "it is the manifest of %s", m.Call)
	}
	v.signature(id, text)
	for _, s := range m.Segments {
		if s.State == Final || s.State == Recovered {
			if err := v.file(id, s); err != nil {
				return err
			}
		}
	}
	v.extra(id, names, &m)
	return nil
}

// erased checks a tombstone: anybody can leave a file of that name.
func (v *verifier) erased(id, dir string, names []string) {
	root, err := v.root.OpenRoot(dir)
	var stone Tombstone
	if err == nil {
		defer root.Close()
		stone, err = loadTombstone(root)
	}
	if err != nil {
		v.find(id, tombstoneName, "can't be read: %s", reason(err))
		return
	}
	v.report.Erased = append(v.report.Erased, id)
	v.stones[id] = stone.ManifestSHA256
	if stone.Done != nil { // else it is still being erased
		v.extra(id, names, nil)
	}
}

func (v *verifier) signature(id string, text []byte) {
	public, err := verifySignature(text)
	if err != nil {
		v.find(id, manifestName, "%v", err)
		return
	}
	fingerprint := keyFingerprint(public)
	if v.trusted == "" { // the first key counts for all
		v.trusted, v.report.Key = fingerprint, fingerprint
	}
	if fingerprint != v.trusted {
		v.find(id, manifestName, "it is signed by another key, %s", fingerprint)
	}
}

// file checks a segment's file: first what lies on the disk, then what it holds.
func (v *verifier) file(id string, s Segment) error {
	name, bytes, sum := s.Stored()
	file, info, err := Open(v.dir, id, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.options.Away != nil && v.options.Away(id):
		v.report.Away++
		return nil
	case errors.Is(err, fs.ErrNotExist):
		v.find(id, name, "it is missing")
		return nil
	case err != nil:
		v.find(id, name, "can't be read: %s", reason(err))
		return nil
	}
	defer file.Close()
	v.report.Files++
	v.report.Bytes += info.Size()
	if info.Size() != bytes {
		v.find(id, name, "it has %d bytes, the manifest says %d", info.Size(), bytes)
		return nil
	}
	got, err := checksum(v.ctx, file)
	switch {
	case v.ctx.Err() != nil:
		return v.ctx.Err()
	case err != nil:
		v.find(id, name, "can't be read: %s", reason(err))
		return nil
	case got != sum:
		v.find(id, name, "its SHA-256 is %s, the manifest says %s", got, sum)
		return nil
	}
	if s.Sealed == nil {
		return nil
	}
	return v.opened(id, s)
}

// opened checks what a sealed file holds, if a key opens it.
func (v *verifier) opened(id string, s Segment) error {
	media, err := OpenMedia(v.dir, id, s.File, v.options.Sealer)
	if errors.Is(err, seal.ErrNoIdentity) {
		return nil
	}
	if err != nil {
		v.find(id, s.Sealed.File, "can't be opened: %s", reason(err))
		return nil
	}
	defer media.Close()
	v.report.Opened++
	got, err := checksum(v.ctx, media)
	switch {
	case v.ctx.Err() != nil:
		return v.ctx.Err()
	case err != nil:
		v.find(id, s.Sealed.File, "can't be opened: %s", reason(err))
	case got != s.SHA256 || media.Size() != s.Bytes:
		v.find(id, s.Sealed.File, "the SHA-256 of its content is %s, the manifest says %s", got, s.SHA256)
	}
	return nil
}

// extra finds media files that no manifest knows. Those that a recording was
// made into (exports) have names of their own.
func (v *verifier) extra(id string, names []string, m *Manifest) {
	for _, name := range names {
		if !validFileName(name) {
			continue
		}
		known := m != nil && slices.ContainsFunc(m.Segments, func(s Segment) bool {
			stored, _, _ := s.Stored()
			return stored == name
		})
		switch {
		case m == nil:
			v.find(id, name, "it is still there although the recording was erased")
		case !known:
			v.find(id, name, "the manifest does not list it")
		}
	}
}

// chain checks that the final manifests are those of the chain, each with the
// hash of the one before it, and, if all recordings were looked at, that none is
// missing.
func (v *verifier) chain(all bool) error {
	last := map[string]link{} // by call: its last manifest, and the one before that
	before := map[string]string{}
	head, links := "", 0
	err := readChain(v.root, func(l link, _ int64) {
		last[l.call], before[l.call] = l, head
		head = l.sum
		links++
	})
	if err != nil && !errors.Is(err, errTornChain) {
		v.find("", chainName, "can't be read: %v", err)
	}
	v.report.Links = links
	for id, m := range v.seen {
		switch l, ok := last[id]; {
		case !ok:
			v.find(id, manifestName, "it is not in the chain")
		case l.sum != m.sum:
			v.find(id, manifestName, "it is not the one in the chain")
		case m.previous != before[id]:
			v.find(id, manifestName, "the chain is broken before it: it follows %s, there stands %s", shown(m.previous), shown(before[id]))
		}
	}
	for id, sum := range v.stones {
		if l, ok := last[id]; ok && l.sum != sum {
			v.find(id, tombstoneName, "it is not of the recording in the chain")
		}
	}
	if all {
		for id := range last {
			if _, err := v.root.Lstat(path.Join(recordingsDir, id)); errors.Is(err, fs.ErrNotExist) {
				v.find(id, "", "the recording is missing: it is in the chain and was not erased")
			}
		}
	}
	slices.SortStableFunc(v.report.Findings, func(a, b Finding) int {
		return strings.Compare(a.Recording+"/"+a.File, b.Recording+"/"+b.File)
	})
	return nil
}

func shown(sum string) string {
	if sum == "" {
		return "nothing"
	}
	return sum[:min(12, len(sum))]
}
