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
	"os"
	"path"
)

// errNoFrames says that a spool holds nothing that can be played.
var errNoFrames = errors.New("no frames")

// final is what the finaliser knows of the file it made.
type final struct {
	header     spoolHeader
	name       string // of the file, in the call's directory
	bytes      int64
	sha256     string
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
}

// run finalises the spool at spoolPath into the directory dir. The spool
// remains: the caller removes it when the manifest says that the file is there.
// known describes it in case its own description is damaged; it may be nil.
func (f finaliser) run(ctx context.Context, spoolPath, dir string, known *spoolHeader) (final, error) {
	src, err := f.root.Open(spoolPath)
	if err != nil {
		return final{}, fmt.Errorf("open spool: %w", err)
	}
	defer src.Close()

	plan, result, err := planFile(ctx, src, path.Base(spoolPath), known)
	if err != nil {
		return result, fmt.Errorf("read spool %s: %w", path.Base(spoolPath), err)
	}
	temp := path.Join(dir, "."+result.name+".tmp")
	if err := f.writeFile(ctx, src, temp, plan, &result); err != nil {
		_ = f.root.Remove(temp)
		return result, fmt.Errorf("write %s: %w", result.name, err)
	}
	if err := f.verify(ctx, temp, result); err != nil {
		_ = f.root.Remove(temp)
		return result, fmt.Errorf("read back %s: %w", result.name, err)
	}
	if err := f.root.Rename(temp, path.Join(dir, result.name)); err != nil {
		return result, fmt.Errorf("rename %s: %w", result.name, err)
	}
	return result, syncDir(f.root, dir)
}

// planFile is the first pass over the spool.
func planFile(ctx context.Context, src io.ReadSeeker, name string, known *spoolHeader) (*layout, final, error) {
	if !validFileName(name) {
		return nil, final{}, fmt.Errorf("%w: not a name of ours", errDamaged)
	}
	s, err := newSalvage(src, known)
	if err != nil {
		return nil, final{}, err
	}
	first, err := s.next()
	if s.header() == nil {
		return nil, final{}, fmt.Errorf("%w: it does not say what it holds", errDamaged)
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
		return nil, result, fmt.Errorf("%w: not a spool", errDamaged)
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
	w := &hashWriter{w: bufio.NewWriterSize(out, 256<<10), sum: sha256.New()}
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
	if err := w.w.Flush(); err != nil {
		return err
	}
	result.bytes, result.sha256 = w.n, hex.EncodeToString(w.sum.Sum(nil))
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
// written, and it must hold every block in order.
func (f finaliser) verify(ctx context.Context, name string, want final) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	sum, err := checksum(ctx, file)
	if err != nil {
		return err
	}
	if sum != want.sha256 {
		return fmt.Errorf("checksum is %s, not %s", sum, want.sha256)
	}
	r, err := newBlockReader(file)
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

func (h *hashWriter) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.n += int64(n)
	_, _ = h.sum.Write(p[:n]) // a hash never fails
	return n, err
}
