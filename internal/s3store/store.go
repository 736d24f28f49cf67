// Package s3store keeps copies of recordings in a bucket that speaks S3.
package s3store

import (
	"context"
	"crypto/md5" // the checksum that S3 asks for; SHA-256 goes with it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/time/rate"

	"consilium/internal/upload"
)

// Config of a Store. Endpoint, Bucket, AccessKey and SecretKey are required.
type Config struct {
	Endpoint  string // URL: scheme, host and perhaps port
	Bucket    string
	Region    string // "": us-east-1
	AccessKey string
	SecretKey string
	// PathStyle puts the bucket into the path of URLs and not before the
	// host's name.
	PathStyle bool
	// CA is PEM of the authorities to trust; nil: those of the machine.
	CA []byte
	// Bandwidth is how many bytes a second may go each way; 0: no limit.
	Bandwidth int
	// Stall is how long a connection may stand still; 0 means 1 min.
	Stall time.Duration
}

const (
	defaultRegion = "us-east-1"
	defaultStall  = time.Minute
)

// Store implements [upload.Store]. It is safe for concurrent use.
type Store struct {
	core      *minio.Core
	keys      *keys
	transport *http.Transport
	place     string
	bucket    string
	stall     time.Duration
	up, down  *rate.Limiter // nil: no limit
}

// New checks the configuration. It connects to nothing.
func New(c Config) (*Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("s3: endpoint %q is not a URL like https://s3.example.org", c.Endpoint)
	}
	if c.Bucket == "" || c.AccessKey == "" || c.SecretKey == "" {
		return nil, errors.New("s3: bucket, access key and secret key are required")
	}
	s := &Store{
		bucket: c.Bucket, stall: c.Stall,
		place: strings.TrimSuffix(c.Endpoint, "/") + "/" + c.Bucket,
	}
	if s.stall == 0 {
		s.stall = defaultStall
	}
	if c.Bandwidth > 0 {
		s.up, s.down = newLimiter(c.Bandwidth), newLimiter(c.Bandwidth)
	}
	if s.transport, err = newTransport(c.CA, s.stall); err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	lookup := minio.BucketLookupDNS
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	s.keys = newKeys(c.AccessKey, c.SecretKey)
	s.core, err = minio.NewCore(u.Host, &minio.Options{
		Creds:  s.keys.credentials,
		Secure: u.Scheme == "https", Region: c.Region, BucketLookup: lookup, Transport: s.transport,
		MaxRetries: 1, // who calls knows what was sent, and when to try again
	})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	return s, nil
}

// Close closes connections that are idle.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// Place implements [upload.Store].
func (s *Store) Place() string { return s.place }

// Begin implements [upload.Store].
func (s *Store) Begin(ctx context.Context, key string) (string, error) {
	w := s.guard(ctx)
	defer w.stop()
	id, err := s.core.NewMultipartUpload(w.ctx, s.bucket, key, minio.PutObjectOptions{
		ContentType: "application/octet-stream",
	})
	return id, s.classify(w.ctx, "begin an upload", err)
}

// Put implements [upload.Store]. The part is read twice: for its checksums,
// which the store compares, and to be sent.
func (s *Store) Put(ctx context.Context, key, id string, number int, content *io.SectionReader) (string, error) {
	sum, md := sha256.New(), md5.New()
	if _, err := io.Copy(io.MultiWriter(sum, md), content); err != nil {
		return "", &upload.Error{Reason: upload.Local, Err: fmt.Errorf("read: %w", err)}
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", &upload.Error{Reason: upload.Local, Err: fmt.Errorf("read: %w", err)}
	}
	w := s.guard(ctx)
	defer w.stop()
	part, err := s.core.PutObjectPart(w.ctx, s.bucket, key, id, number,
		&watchedReader{watch: w, r: content, limit: s.up}, content.Size(), minio.PutObjectPartOptions{
			Sha256Hex: hex.EncodeToString(sum.Sum(nil)), Md5Base64: base64.StdEncoding.EncodeToString(md.Sum(nil)),
		})
	return part.ETag, s.classify(w.ctx, fmt.Sprintf("send part %d", number), err)
}

// completeTimeout bounds a request that lets the store put parts together.
const completeTimeout = 10 * time.Minute

// Complete implements [upload.Store].
func (s *Store) Complete(ctx context.Context, key, id string, etags []string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, completeTimeout, errStalled)
	defer cancel()
	parts := make([]minio.CompletePart, len(etags))
	for i, etag := range etags {
		parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: etag}
	}
	info, err := s.core.CompleteMultipartUpload(ctx, s.bucket, key, id, parts, minio.PutObjectOptions{})
	return info.VersionID, s.classify(ctx, "complete the upload", err)
}

// Abort implements [upload.Store].
func (s *Store) Abort(ctx context.Context, key, id string) error {
	w := s.guard(ctx)
	defer w.stop()
	err := s.classify(w.ctx, "abort an upload", s.core.AbortMultipartUpload(w.ctx, s.bucket, key, id))
	if errors.Is(err, upload.ErrNoUpload) {
		return nil
	}
	return err
}

// Check asks the store the least there is to ask: whether the bucket can be
// reached, and takes the access key.
func (s *Store) Check(ctx context.Context) error {
	w := s.guard(ctx)
	defer w.stop()
	_, err := s.core.ListMultipartUploads(w.ctx, s.bucket, "", "", "", "", 1)
	return s.classify(w.ctx, "look at the bucket", err)
}

// maxUnfinished bounds what Unfinished returns.
const maxUnfinished = 10_000

// Unfinished implements [upload.Store].
func (s *Store) Unfinished(ctx context.Context) ([]upload.Unfinished, error) {
	var list []upload.Unfinished
	for key, id := "", ""; len(list) < maxUnfinished; {
		w := s.guard(ctx)
		page, err := s.core.ListMultipartUploads(w.ctx, s.bucket, "", key, id, "", 1000)
		err = s.classify(w.ctx, "list uploads", err)
		w.stop()
		if err != nil {
			return nil, err
		}
		for _, o := range page.Uploads {
			list = append(list, upload.Unfinished{Key: o.Key, Upload: o.UploadID, Begun: o.Initiated})
		}
		if !page.IsTruncated || page.NextKeyMarker == key && page.NextUploadIDMarker == id {
			break
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
	return list, nil
}

// Open implements [upload.Store].
func (s *Store) Open(ctx context.Context, key, version string) (*upload.Object, error) {
	w := s.guard(ctx)
	body, info, _, err := s.core.GetObject(w.ctx, s.bucket, key, minio.GetObjectOptions{VersionID: version})
	if err = s.classify(w.ctx, "read", err); err != nil {
		w.stop()
		return nil, err
	}
	o := &object{store: s, watchedReader: watchedReader{watch: w, r: body, limit: s.down}, body: body}
	return &upload.Object{ReadCloser: o, Version: info.VersionID}, nil
}

// Remove implements [upload.Store].
func (s *Store) Remove(ctx context.Context, key, version string) error {
	w := s.guard(ctx)
	defer w.stop()
	err := s.core.RemoveObject(w.ctx, s.bucket, key, minio.RemoveObjectOptions{VersionID: version})
	err = s.classify(w.ctx, "remove", err)
	if errors.Is(err, upload.ErrNoObject) {
		return nil
	}
	return err
}

// object is one that is being read.
type object struct {
	watchedReader
	store *Store
	body  io.Closer
}

// Read implements [io.Reader].
func (o *object) Read(p []byte) (int, error) {
	n, err := o.watchedReader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = o.store.classify(o.watch.ctx, "read", err)
	}
	return n, err
}

// Close implements [io.Closer].
func (o *object) Close() error {
	defer o.watch.stop()
	return o.body.Close()
}
