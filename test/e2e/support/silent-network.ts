import type { RunOptions } from '../../support/child-process.ts'

/** `host:port` of a machine that is switched off: nothing answers, nothing refuses. Only in `silentNetwork`. */
export const silentAddress = '10.9.0.2:5000'

/** Another address of the network, which is not one of those that clients trust without a certificate. */
export const ownAddress = '10.9.0.3'

/** Starts a program in a network of its own, where nobody answers and no name is known. */
export const silentNetwork: NonNullable<RunOptions['by']> = [
  ['unshare', '--net'],
  [
    'sh',
    '-c',
    'ip link set lo up && ip address add 10.9.0.2/32 dev lo && ip address add 10.9.0.3/32 dev lo && ' +
      'iptables -A INPUT -d 10.9.0.2 -j DROP && exec "$@"',
    'sh',
  ],
]

/** The programs that `silentNetwork` needs. */
export const silentPrograms = ['unshare', 'sh', 'ip', 'iptables'] as const
