package server

import (
	"errors"
	"fmt"

	"consilium/internal/config"
	"consilium/internal/s3store"
	"consilium/internal/upload"
	"consilium/recorder"
)

// newUploads makes what keeps copies of recordings.
func (s *Server) newUploads() error {
	c := s.cfg.Recording.S3
	var err error
	if s.store, err = s3store.Open(c); err != nil {
		return err
	}
	if c.AllowUnsealed && len(s.cfg.Recording.Recipients) == 0 {
		s.log.Warn("recordings leave this machine unsealed: who keeps the object store can see and hear them; set recording.recipients",
			"endpoint", c.Endpoint, "bucket", c.Bucket)
	}
	s.uploads, err = upload.New(upload.Config{
		Dir: s.cfg.Data, Store: s.store, Source: originals{s.cfg.Data}, Prefix: c.Prefix, PartSize: c.PartSize.Bytes,
		Concurrency: c.Concurrency, KeepLocal: c.KeepLocal, AllowUnsealed: c.AllowUnsealed, LateAfter: c.LateAfter,
		Metrics: s.metrics, Events: s.journal, Log: s.log.With("part", "upload"),
	})
	return err
}

// recordingChanged tells who keeps an index and who makes copies.
func (s *Server) recordingChanged(id string) {
	s.catalog.Changed(id)
	if s.uploads != nil {
		s.uploads.Changed(id)
	}
}

// recordingErased tells them that a recording is gone for good. That its copy
// must go is durable: if it can't be written down here, the tombstone says so at
// the next look.
func (s *Server) recordingErased(id string) {
	s.catalog.Changed(id)
	if s.uploads == nil {
		return
	}
	if err := s.uploads.Erase(id); err != nil {
		s.log.Error("the copy of an erased recording waits for the next look", "recording", id, "error", err)
	}
}

// hurryUploads has what waits tried at once: what is copied may make room.
func (s *Server) hurryUploads() {
	if s.uploads != nil {
		s.uploads.Hurry()
	}
}

// reloadStore takes another access key.
func (s *Server) reloadStore(c config.Config) error {
	if s.store == nil {
		return nil
	}
	err := s.store.SetKeys(c.Recording.S3.AccessKey, string(c.Recording.S3.SecretKey))
	s.hurryUploads()
	return err
}

// originals are the recordings that copies are made of.
type originals struct{ dir string }

// Stamps implements upload.Source.
func (o originals) Stamps() (map[string]upload.Stamp, error) {
	ids, err := recorder.IDs(o.dir)
	if err != nil {
		return nil, err
	}
	stamps := make(map[string]upload.Stamp, len(ids))
	for _, id := range ids {
		stamps[id] = upload.Stamp{}
		if !recorder.IsErased(o.dir, id) {
			stamps[id] = upload.Stamp(manifests{o.dir}.stamp(id))
		}
	}
	return stamps, nil
}

// Files implements upload.Source.
func (o originals) Files(id string) ([]upload.File, error) {
	stored, err := recorder.StoredFiles(o.dir, id)
	if errors.Is(err, recorder.ErrUnfinished) {
		return nil, fmt.Errorf("%w: %w", upload.ErrNotFinal, err)
	}
	files := make([]upload.File, 0, len(stored))
	for _, f := range stored {
		files = append(files, upload.File(f))
	}
	return files, err
}

// Open implements upload.Source.
func (o originals) Open(id, name string) (upload.Content, error) {
	f, err := recorder.OpenStored(o.dir, id, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Erased implements upload.Source.
func (o originals) Erased(id string) bool { return recorder.IsErased(o.dir, id) }

// Removable implements upload.Source.
func (o originals) Removable(id string) bool { return recorder.MediaRemovable(o.dir, id) }

// Remove implements upload.Source.
func (o originals) Remove(id string) error { return recorder.RemoveMedia(o.dir, id) }
