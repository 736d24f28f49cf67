package s3store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"consilium/internal/upload"
)

// classify gives an error its reason, and words that say what to do.
func (s *Store) classify(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return s.failure(upload.Stalled, doing, fmt.Errorf("nothing went over the connection for %v", s.stall))
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	var answer minio.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode != 0 {
		return s.refusal(doing, answer)
	}
	if untrusted(err) {
		return s.failure(upload.Certificate, doing,
			fmt.Errorf("%w; name the CA that signed the store's certificate in recording.s3.ca_file", err))
	}
	return s.failure(upload.Unreachable, doing, err)
}

func (s *Store) failure(r upload.Reason, doing string, err error) error {
	return &upload.Error{Reason: r, Err: fmt.Errorf("%s at %s: %w", doing, s.place, err)}
}

// refusal is an answer that is an error. Codes are those of the S3 API
// reference, "Error responses", and those of servers that have others.
func (s *Store) refusal(doing string, e minio.ErrorResponse) error {
	fail := func(r upload.Reason, words string) error {
		return s.failure(r, doing, fmt.Errorf("%s (%s: %w)", words, e.Code, e))
	}
	switch e.Code {
	case "NoSuchUpload":
		return fmt.Errorf("%s at %s: %w", doing, s.place, upload.ErrNoUpload)
	case "NoSuchKey", "NoSuchVersion":
		return fmt.Errorf("%s at %s: %w", doing, s.place, upload.ErrNoObject)
	case "NoSuchBucket":
		return fail(upload.NoBucket, "the bucket does not exist: make it, or correct recording.s3.bucket")
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return fail(upload.Credentials, "the store does not know the access key: check recording.s3.access_key")
	case "SignatureDoesNotMatch":
		return fail(upload.Credentials, "the secret key is wrong: check recording.s3.secret_key")
	case "ExpiredToken", "InvalidToken":
		return fail(upload.Credentials, "the access key is no longer valid")
	case "RequestTimeTooSkewed":
		return fail(upload.Credentials, "the clocks of this machine and of the store differ by more than 15 min: set them right")
	case "AuthorizationHeaderMalformed", "PermanentRedirect":
		return fail(upload.Denied, "the bucket is in another region or at another address: check recording.s3.region and endpoint")
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "EntityTooLarge", "InsufficientStorage":
		return fail(upload.Full, "the store has no space left")
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch":
		return fail(upload.Corrupted, "what arrived is not what was sent")
	case "ObjectLocked", "InvalidRequestObjectLock":
		return fail(upload.Locked, "the object is under retention or legal hold")
	case "AccessDenied", "AllAccessDisabled":
		if doing == "remove" {
			return fail(upload.Locked, "the object is under retention or legal hold, or the key may not remove objects")
		}
		return fail(upload.Denied, "the access key may not do that: it needs PutObject, GetObject, DeleteObject, AbortMultipartUpload and ListBucketMultipartUploads")
	}
	switch {
	case e.StatusCode == http.StatusInsufficientStorage:
		return fail(upload.Full, "the store has no space left")
	case e.StatusCode == http.StatusNotFound && doing == "read":
		return fmt.Errorf("%s at %s: %w", doing, s.place, upload.ErrNoObject)
	case e.StatusCode >= 500, e.StatusCode == http.StatusTooManyRequests, e.StatusCode == http.StatusRequestTimeout:
		return fail(upload.Unreachable, "the store is out of order or busy")
	}
	return fail(upload.Other, "the store refused")
}

// untrusted reports whether the certificate is why a connection failed.
func untrusted(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	return verification || authority || host
}
