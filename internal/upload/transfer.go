package upload

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxParts is how many parts an object may have in S3.
const maxParts = 10_000

// transfer brings the copy of a recording up to date. The manifest goes last,
// when everything else was read back: where there is one, there is all of it.
func (u *Uploader) transfer(ctx context.Context, p pending) error {
	s, err := u.states.load(p.recording)
	if errors.Is(err, errUnreadable) {
		u.log.Warn("a recording is sent from its beginning", "recording", p.recording, "error", err)
		s = &state{Recording: p.recording}
	} else if err != nil {
		return err
	}
	s.take(u.config.Store.Place(), u.config.Prefix, p.files)
	s.Uploaded = false
	for i := range s.Objects {
		o := &s.Objects[i]
		if o.Verified {
			continue
		}
		if err := u.send(ctx, s, o); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
		if err := u.verify(ctx, s, o); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
		o.Verified = true
		if err := u.states.save(s); err != nil {
			return err
		}
		u.progress(p.recording, o.Bytes)
	}
	now := time.Now().UTC()
	s.Uploaded, s.Verified, s.Manifest = true, &now, p.stamp
	if err := u.states.save(s); err != nil {
		return err
	}
	u.done(s)
	u.removeLeftovers(ctx, s)
	return nil
}

// removeLeftovers removes what is no part of a complete copy any more. What
// can't be removed is tried again with the next change, and when the recording
// is erased.
func (u *Uploader) removeLeftovers(ctx context.Context, s *state) {
	if len(s.Leftovers) == 0 {
		return
	}
	var kept []object
	for _, o := range s.Leftovers {
		if err := u.removeObject(ctx, s, &o); err != nil {
			u.log.Warn("an earlier copy of a file was not removed", "recording", s.Recording, "file", o.Name, "error", err)
			kept = append(kept, o)
		}
	}
	s.Leftovers = kept
	if err := u.states.save(s); err != nil {
		u.log.Warn("removing earlier copies of files was not written down", "recording", s.Recording, "error", err)
	}
}

// send sends what is missing of an object.
func (u *Uploader) send(ctx context.Context, s *state, o *object) error {
	if o.Sent {
		return nil
	}
	f, err := u.config.Source.Open(s.Recording, o.Name)
	if err != nil {
		return fail(Local, "open: %w", err)
	}
	defer f.Close()
	err = u.sendParts(ctx, s, o, f)
	if !errors.Is(err, ErrNoUpload) {
		return err
	}
	// Either the store has forgotten the parts, or the object was completed
	// and we were killed before that was written down.
	o.Upload, o.ETags = "", nil
	if ok, err := u.matches(ctx, o); err != nil || ok {
		o.Sent = ok
		return errors.Join(err, u.states.save(s))
	}
	u.log.Warn("the store has forgotten parts of a recording: they are sent again", "recording", s.Recording, "file", o.Name)
	return u.sendParts(ctx, s, o, f)
}

func (u *Uploader) sendParts(ctx context.Context, s *state, o *object, f io.ReaderAt) error {
	if o.Upload == "" {
		upload, err := u.config.Store.Begin(ctx, o.Key)
		if err != nil {
			return err
		}
		o.Upload, o.ETags = upload, nil
		o.PartSize = max(u.config.PartSize, (o.Bytes+maxParts-1)/maxParts)
		if err := u.states.save(s); err != nil {
			return err
		}
	}
	for from := int64(len(o.ETags)) * o.PartSize; from < o.Bytes || from == 0; from += o.PartSize {
		part := io.NewSectionReader(f, from, min(o.PartSize, o.Bytes-from))
		etag, err := u.config.Store.Put(ctx, o.Key, o.Upload, len(o.ETags)+1, part)
		if err != nil {
			return err
		}
		o.ETags = append(o.ETags, etag)
		if err := u.states.save(s); err != nil {
			return err
		}
		u.sentBytes.Add(uint64(part.Size()))
	}
	version, err := u.config.Store.Complete(ctx, o.Key, o.Upload, o.ETags)
	if err != nil {
		return err
	}
	o.Sent, o.Copy, o.Upload, o.ETags = true, version, "", nil
	return u.states.save(s)
}

// verify reads an object back. If it is not what was to be sent, it will be
// sent again.
func (u *Uploader) verify(ctx context.Context, s *state, o *object) error {
	ok, err := u.matches(ctx, o)
	if err != nil || ok {
		return err
	}
	if err := u.checkLocal(ctx, s.Recording, o); err != nil {
		return err
	}
	s.Leftovers = append(s.Leftovers, *o)
	o.Sent, o.Verified, o.Copy, s.Uploaded = false, false, "", false
	if err := u.states.save(s); err != nil {
		return err
	}
	return fail(Corrupted, "the copy that was read back is not what was sent; it is sent again")
}

// matches reports whether the store returns what was to be sent. Of a copy
// whose version is not known it notes that of what it read.
func (u *Uploader) matches(ctx context.Context, o *object) (bool, error) {
	r, err := u.config.Store.Open(ctx, o.Key, o.Copy)
	if errors.Is(err, ErrNoObject) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read back: %w", err)
	}
	defer r.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(r, o.Bytes+1))
	if err != nil {
		return false, fmt.Errorf("read back: %w", err)
	}
	same := n == o.Bytes && hex.EncodeToString(hash.Sum(nil)) == o.SHA256
	if same {
		o.Copy = cmp.Or(o.Copy, r.Version)
	}
	return same, nil
}

// checkLocal tells a damaged copy from a damaged original.
func (u *Uploader) checkLocal(ctx context.Context, recording string, o *object) error {
	f, err := u.config.Source.Open(recording, o.Name)
	if err != nil {
		return fail(Local, "open: %w", err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, &contextReader{ctx, io.NewSectionReader(f, 0, o.Bytes+1)}); err != nil {
		return fail(Local, "read: %w", err)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != o.SHA256 {
		return fail(Local, "the file here is damaged: its SHA-256 is %s, the manifest says %s", sum, o.SHA256)
	}
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements [io.Reader].
func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
