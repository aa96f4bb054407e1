import { csrfToken, failureOf } from './client';
import { Failure } from './failure';

/** Sends one file as multipart/form-data; unlike fetch, XMLHttpRequest says how far it has come. */
export function upload<T>(
  path: string,
  file: File,
  onProgress: (progress: number) => void,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append('file', file);
    request.open('POST', path);
    request.setRequestHeader('Accept', 'application/json');
    request.setRequestHeader('X-CSRFToken', csrfToken());
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = request.onabort = () => reject(new Failure('network'));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        resolve(JSON.parse(request.responseText) as T);
        return;
      }
      const retryAfter = request.getResponseHeader('Retry-After');
      const headers: HeadersInit = retryAfter === null ? {} : { 'Retry-After': retryAfter };
      void failureOf(new Response(request.responseText, { status: request.status, headers })).then(reject);
    };
    signal.addEventListener('abort', () => request.abort());
    request.send(form);
  });
}
