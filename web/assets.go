package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// contentTypes are the types of the client's files. The list is closed: a file
// of another type is a mistake and stops the start.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".png":  "image/png",
	".svg":  "image/svg+xml",
}

// assetTree holds every file of the client but the pages, ready to be sent.
type assetTree struct {
	prefix string // "/assets/<hash>/"
	files  map[string]content
}

// loadAssets reads the tree. Its hash covers names and bytes of all files, so
// that the relative imports of ES modules all change together: a browser never
// mixes modules of two versions.
func loadAssets(files fs.FS) (*assetTree, error) {
	tree := &assetTree{files: map[string]content{}}
	hash := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		kind, ok := contentTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("file %s has no known content type", name)
		}
		fmt.Fprintf(hash, "%s\x00%d\x00", name, len(data))
		hash.Write(data)
		if path.Ext(name) != ".html" {
			tree.files[name] = newContent(data, kind)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the client: %w", err)
	}
	tree.prefix = "/assets/" + hex.EncodeToString(hash.Sum(nil))[:16] + "/"
	return tree, nil
}

func (t *assetTree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := t.files[strings.TrimPrefix(r.URL.Path, t.prefix)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	file.serve(w, r)
}

// content is one file with its compressed form, nil where that is no smaller.
type content struct {
	kind    string
	plain   []byte
	gzipped []byte
}

func newContent(data []byte, kind string) content {
	c := content{kind: kind, plain: data}
	var b bytes.Buffer
	// Writing to a bytes.Buffer can't fail, and the level is a valid one.
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = z.Write(data)
	_ = z.Close()
	if b.Len() < len(data) {
		c.gzipped = b.Bytes()
	}
	return c
}

func (c content) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", c.kind)
	h.Add("Vary", "Accept-Encoding")
	body := c.plain
	if c.gzipped != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = c.gzipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.Copy(w, bytes.NewReader(body)) // the browser went away: nothing to do
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3) as far as it
// matters here: gzip is named and not refused with q=0.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		key, value, found := strings.Cut(params, "=")
		if !found || strings.TrimSpace(key) != "q" {
			return true
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		return err == nil && q > 0
	}
	return false
}
