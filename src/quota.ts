/** Quotas by namespace: what may be asked for a tenant, and how the core takes it. */
import { PagedKvError } from './errors.js';
import { native } from './native.js';
import { checkNamespace, readInteger, readOptions } from './validate.js';

/** Of one tier, in blocks of one cache group; every group has as many. */
export interface TierQuota {
  /**
   * Up to so many, the namespace's cached blocks are not evicted for the sake of others (but for a full
   * prefix index, `INDEX_FULL`, where nothing else helps, and for host blocks whose prefix has to leave the
   * device while the host has no room for it). They are kept, not set aside: what it does not
   * use, others may. Default 0. All namespaces together can keep no more than the tier has.
   */
  readonly min?: number;
  /**
   * The namespace never occupies more, be they held, cached or in open steps: to have another one it gives
   * up one that it has cached itself, however many are free, and without such it is out of blocks. Where
   * it has more already, it never has more than that. Default: no end.
   */
  readonly max?: number;
}

export interface QuotaOptions {
  /** The default namespace is `''`. Those without a quota share what is left. */
  readonly namespace: string;
  readonly device?: TierQuota;
  readonly host?: TierQuota;
}

export interface QuotaWords {
  readonly namespace: string;
  readonly device: readonly [min: number, max: number];
  readonly host: readonly [min: number, max: number];
}

/** In the core: no end. */
const NO_MAX = 2 ** 32 - 1;

export function readQuota(options: unknown): QuotaWords {
  const given = readOptions('setQuota', options, ['namespace', 'device', 'host']);
  const { namespace } = given;
  checkNamespace(namespace);
  return {
    namespace,
    device: readTierQuota('device', given.device),
    host: readTierQuota('host', given.host),
  };
}

function readTierQuota(name: string, options: unknown): readonly [min: number, max: number] {
  const given = options === undefined ? {} : readOptions(name, options, ['min', 'max']);
  const min = readInteger(`${name}.min`, given.min, 0, native.maxBlocksPerPool, 0);
  const max = readInteger(`${name}.max`, given.max, 0, native.maxBlocksPerPool, NO_MAX);
  if (min <= max) return [min, max];
  throw new PagedKvError('INVALID_OPTION', `${name}.min of ${min} is more than its max of ${max}`);
}
