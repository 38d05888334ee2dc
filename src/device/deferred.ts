/** A promise with its ends in hand. */
export interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** A rejection that nobody listens to is no error of its own: whoever rejects it tells in another way too. */
export function deferred(): Deferred {
  let resolve!: () => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<void>((...ends) => {
    [resolve, reject] = ends;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
