package s3store

import (
	"fmt"
	"os"

	"consilium/internal/config"
)

// Open makes the Store that a valid configuration names. It connects to nothing.
func Open(c config.S3) (*Store, error) {
	var ca []byte
	if c.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(c.CAFile); err != nil {
			return nil, fmt.Errorf("recording.s3.ca_file: %w", err)
		}
	}
	return New(Config{
		Endpoint: c.Endpoint, Bucket: c.Bucket, Region: c.Region, AccessKey: c.AccessKey, SecretKey: string(c.SecretKey),
		PathStyle: c.PathStyle, CA: ca, Bandwidth: c.Bandwidth * 1000 / 8,
	})
}
