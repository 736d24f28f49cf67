package recorder

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"consilium/internal/seal"
)

// errNoFrames says that a spool holds nothing that can be played.
var errNoFrames = errors.New("no frames")

// final is what the finaliser knows of the file it made.
type final struct {
	header     spoolHeader
	name       string // of the file, in the call's directory
	bytes      int64
	sha256     string
	sealed     *Sealed // nil: not sealed
	frames     int64
	durationMS int64
	damage     int   // places of the spool that could not be read
	insertedMS int64 // silence put in their place
	activity   *Activity
}

// finaliser turns a spool into the file that is kept: clusters of known size,
// Cues in front that point at keyframes only, a Duration, a checksum. It does
// the same after a crash; the same spool always gives the same bytes, so it
// may be interrupted anywhere and run again.
type finaliser struct {
	root *os.Root
	// create makes the output; tests put a failing one here.
	create func(root *os.Root, name string) (spoolFile, error)
	sealer seal.Sealer       // nil: the file is not sealed
	keys   []seal.Key        // of the recording, the one to seal with first
	step   func(name string) // may be nil
}

// run finalises the spool at spoolPath into the directory dir. The spool
// remains: the caller removes it when the manifest says that the file is there.
// known describes it in case its own description is damaged; it may be nil.
func (f finaliser) run(ctx context.Context, spoolPath, dir string, known *spoolHeader) (final, error) {
	file, err := f.root.Open(spoolPath)
	if err != nil {
		return final{}, fmt.Errorf("open spool: %w", err)
	}
	defer file.Close()
	src := io.ReadSeeker(file)
	name := strings.TrimSuffix(path.Base(spoolPath), sealedExtension)
	if name != path.Base(spoolPath) {
		info, err := file.Stat()
		if err != nil {
			return final{}, fmt.Errorf("find size of spool: %w", err)
		}
		if src, err = openSealedSpool(file, info.Size(), f.keys); err != nil {
			return final{}, fmt.Errorf("open sealed spool %s: %w", name, err)
		}
	}
	plan, result, err := planFile(ctx, src, name, known)
	if err != nil {
		return result, fmt.Errorf("read spool %s: %w", name, err)
	}
	stored, other := name, name+sealedExtension
	if f.sealer != nil {
		stored, other = name+f.sealer.Extension(), name
		result.sealed = &Sealed{Scheme: f.sealer.Scheme(), File: stored}
	}
	temp := path.Join(dir, tempName(stored))
	if err := f.writeFile(ctx, src, temp, plan, &result); err != nil {
		_ = f.root.Remove(temp)
		return result, fmt.Errorf("write %s: %w", result.name, err)
	}
	if err := f.verify(ctx, temp, result); err != nil {
		_ = f.root.Remove(temp)
		return result, fmt.Errorf("read back %s: %w", result.name, err)
	}
	f.reached("file read back")
	if err := f.root.Rename(temp, path.Join(dir, stored)); err != nil {
		return result, fmt.Errorf("rename %s: %w", result.name, err)
	}
	// Sealing may have been turned on, or off, since a crash after the rename.
	if err := f.root.Remove(path.Join(dir, other)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return result, fmt.Errorf("remove %s: %w", other, err)
	}
	err = syncDir(f.root, dir)
	f.reached("file renamed")
	return result, err
}

// reached tells that a step is done.
func (f finaliser) reached(step string) {
	if f.step != nil {
		f.step(step)
	}
}

// planFile is the first pass over the spool.
func planFile(ctx context.Context, src io.ReadSeeker, name string, known *spoolHeader) (*layout, final, error) {
	if !validFileName(name) {
		return nil, final{}, fmt.Errorf("%w: not a name of ours", ErrDamaged)
	}
	s, err := newSalvage(src, known)
	if err != nil {
		return nil, final{}, err
	}
	first, err := s.next()
	if s.header() == nil {
		return nil, final{}, fmt.Errorf("%w: it does not say what it holds", ErrDamaged)
	}
	if err := s.header().known(); err != nil {
		return nil, final{}, err
	}
	result := final{header: *s.header(), name: name}
	result.header.Segment.File = name
	plan := &layout{audio: result.header.Format.audio()}
	var loud activityMeter
	for b := first; ; b, err = s.next() {
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, result, err
		}
		if plan.blocks%1024 == 0 && ctx.Err() != nil {
			return nil, result, ctx.Err()
		}
		plan.add(b)
		if plan.audio {
			loud.guess(b.ms, b.data)
		}
	}
	result.activity = loud.result()
	result.damage, result.insertedMS = s.reader.damage, s.insertedMS
	if plan.blocks == 0 && s.reader.header == nil && result.damage > 0 {
		return nil, result, fmt.Errorf("%w: not a spool", ErrDamaged)
	}
	if plan.blocks == 0 && s.skipped > 0 { // somebody may do better than we can
		return nil, result, fmt.Errorf("%w: none of its %d frames can be decoded", ErrDamaged, s.skipped)
	}
	if plan.blocks == 0 {
		return nil, result, errNoFrames
	}
	plan.close()
	result.frames, result.durationMS = plan.blocks, plan.duration()
	return plan, result, nil
}

// writeFile is the second pass: it writes and syncs the file.
func (f finaliser) writeFile(ctx context.Context, src io.ReadSeeker, name string, plan *layout, result *final) (err error) {
	out, err := f.create(f.root, name)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	disk := newHashWriter(out)
	w := disk
	var sealing io.WriteCloser
	if f.sealer != nil {
		if sealing, err = f.sealer.SealFile(disk, f.keys[0]); err != nil {
			return err
		}
		w = newHashWriter(sealing)
	}
	head, err := fileHead(plan, result.header.Format)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	s, err := newSalvage(src, &result.header)
	if err != nil {
		return err
	}
	for _, c := range plan.clusters {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := copyCluster(w, s, c); err != nil {
			return err
		}
	}
	if result.bytes, result.sha256, err = w.finish(); err != nil {
		return err
	}
	if sealing != nil {
		if err := sealing.Close(); err != nil {
			return err
		}
		if result.sealed.Bytes, result.sealed.SHA256, err = disk.finish(); err != nil {
			return err
		}
	}
	f.reached("file written")
	return out.Sync()
}

// copyCluster writes the next cluster of the plan.
func copyCluster(w io.Writer, s interface{ next() (block, error) }, c clusterPlan) error {
	blocks := make([]block, 0, c.blocks)
	for range c.blocks {
		b, err := s.next()
		if err != nil {
			return fmt.Errorf("the source changed while it was read: %w", err)
		}
		blocks = append(blocks, b)
	}
	out, err := appendCluster(nil, blocks)
	if err != nil {
		return err
	}
	if int64(len(out)) != clusterSize(c.ms, c.body) {
		return fmt.Errorf("cluster at %d ms has %d bytes, planned were %d", c.ms, len(out), clusterSize(c.ms, c.body))
	}
	_, err = w.Write(out)
	return err
}

// fileHead returns everything before the first cluster.
func fileHead(plan *layout, f format) ([]byte, error) {
	entry, err := f.tracks()
	if err != nil {
		return nil, err
	}
	about := info{timestampScale, float64(plan.duration()), muxingApp, f.WritingApp}
	return seekableHead(f.header(), about, entry, plan.cues, plan.size)
}

// seekableHead returns everything before the first cluster of a file with its
// Cues in front. cuesFrom makes them, given the position of the first cluster
// inside the Segment; clusters is the size of all clusters.
func seekableHead(h ebmlHeader, about info, entries tracks, cuesFrom func(first int64) cues, clusters int64) ([]byte, error) {
	parts := []any{
		&struct {
			EBML ebmlHeader `ebml:"EBML"`
		}{h},
		&struct {
			Info info `ebml:"Info"`
		}{about},
		&struct {
			Tracks tracks `ebml:"Tracks"`
		}{entries},
		// Positions and sizes of SeekHead and Cues do not depend on each
		// other's values: all positions take eight bytes.
		&struct {
			SeekHead seekHead `ebml:"SeekHead"`
		}{fileSeekHead(0, 0, 0)},
		&struct {
			Cues cues `ebml:"Cues"`
		}{cuesFrom(0)},
	}
	var b [5][]byte
	for i, p := range parts {
		var err error
		if b[i], err = marshal(p); err != nil {
			return nil, err
		}
	}
	header, inf, track, seekLen, cueLen := b[0], b[1], b[2], int64(len(b[3])), int64(len(b[4]))
	infoAt := seekLen
	tracksAt := infoAt + int64(len(inf))
	cuesAt := tracksAt + int64(len(track))
	clustersAt := cuesAt + cueLen

	body, err := marshal(&struct {
		SeekHead seekHead `ebml:"SeekHead"`
	}{fileSeekHead(infoAt, tracksAt, cuesAt)})
	if err != nil {
		return nil, err
	}
	cue, err := marshal(&struct {
		Cues cues `ebml:"Cues"`
	}{cuesFrom(clustersAt)})
	if err != nil {
		return nil, err
	}
	out := append(header, segmentStart(clustersAt+clusters)...)
	out = append(append(append(append(out, body...), inf...), track...), cue...)
	return out, nil
}

func fileSeekHead(infoAt, tracksAt, cuesAt int64) seekHead {
	entry := func(id uint32, at int64) seek {
		return seek{SeekID: binary.BigEndian.AppendUint32(nil, id), SeekPosition: uint64(at)}
	}
	return seekHead{Seek: []seek{entry(idInfo, infoAt), entry(idTracks, tracksAt), entry(idCues, cuesAt)}}
}

// verify reads the file back: its bytes must have the checksum of what was
// written, and it must hold every block in order. What is sealed is opened with
// the recording's own key, so that this needs no private key that lasts.
func (f finaliser) verify(ctx context.Context, name string, want final) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	content := io.ReadSeeker(file)
	if want.sealed != nil {
		if err := expect(ctx, file, want.sealed.SHA256); err != nil {
			return err
		}
		opened, size, err := f.sealer.OpenFile(file, want.sealed.Bytes, f.keys...)
		if err != nil {
			return err
		}
		content = io.NewSectionReader(opened, 0, size)
	}
	if err := expect(ctx, content, want.sha256); err != nil {
		return err
	}
	r, err := newBlockReader(content)
	if err != nil {
		return err
	}
	var frames, last int64
	for {
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if b.ms < last {
			return fmt.Errorf("block at %d ms after %d ms", b.ms, last)
		}
		last = b.ms
		frames++
	}
	if frames != want.frames || r.damage > 0 {
		return fmt.Errorf("%d blocks of %d, %d places damaged", frames, want.frames, r.damage)
	}
	return nil
}

// expect checks that the rest of r has a checksum.
func expect(ctx context.Context, r io.Reader, want string) error {
	sum, err := checksum(ctx, r)
	if err == nil && sum != want {
		err = fmt.Errorf("checksum is %s, not %s", sum, want)
	}
	return err
}

// checksum of everything in r.
func checksum(ctx context.Context, r io.Reader) (string, error) {
	sum := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		_, err := io.CopyN(sum, r, 4<<20)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// hashWriter counts and hashes what goes through it.
type hashWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int64
}

func newHashWriter(w io.Writer) *hashWriter {
	return &hashWriter{w: bufio.NewWriterSize(w, 256<<10), sum: sha256.New()}
}

// finish writes what is left and sums up what went through.
func (h *hashWriter) finish() (bytes int64, sha256 string, err error) {
	return h.n, hex.EncodeToString(h.sum.Sum(nil)), h.w.Flush()
}

func (h *hashWriter) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.n += int64(n)
	_, _ = h.sum.Write(p[:n]) // a hash never fails
	return n, err
}
