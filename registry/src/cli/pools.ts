/** The settings of the gossip pools: a preset, and what files say otherwise (`gossip_lan`, `gossip_wan`, `reconnect_timeout`). */
import { type GossipConfig, lanConfig, localConfig, wanConfig } from '../gossip/gossip.ts'
import type { Millis } from '../model.ts'
import type { Key } from './options.ts'

export interface PoolSettings {
  lan: GossipConfig
  wan: GossipConfig
}

/** What a file gives; undefined: nothing. `duration` in milliseconds, of at least as many; mistakes are collected by them. */
export interface Given {
  duration(key: Key, least: Millis): Millis | undefined
  count(key: Key, least: number): number | undefined
}

/** Consul's documentation asks for this much; Consul 1.8 takes less. */
const reconnectTimeoutMin: Millis = 8 * 3_600_000
/** Agents tick every 100 ms: what is shorter would not be kept. */
const intervalMin: Millis = 100

/** @param dev `-dev`: one machine */
export function poolSettings(given: Given, dev: boolean, warnings: string[]): PoolSettings {
  const settings = (pool: 'lan' | 'wan', preset: GossipConfig): GossipConfig => {
    const reconnectKey = pool === 'lan' ? 'reconnect_timeout' : 'reconnect_timeout_wan'
    const interval = (key: Key, otherwise: Millis) => given.duration(key, intervalMin) ?? otherwise
    const count = (key: Key, otherwise: number) => given.count(key, 1) ?? otherwise
    const reconnect = given.duration(reconnectKey, 0)
    if (reconnect !== undefined && reconnect > 0 && reconnect < reconnectTimeoutMin) {
      warnings.push(`${reconnectKey} is less than 8h: a node that is away for a night is forgotten with all it had`)
    }
    const probeInterval = interval(`gossip_${pool}.probe_interval`, preset.probeInterval)
    const probeTimeout = interval(`gossip_${pool}.probe_timeout`, Math.min(preset.probeTimeout, probeInterval))
    if (probeTimeout > probeInterval) {
      warnings.push(
        `gossip_${pool}.probe_timeout is longer than probe_interval: no member is asked to probe for another`,
      )
    }
    return {
      ...preset,
      gossipInterval: interval(`gossip_${pool}.gossip_interval`, preset.gossipInterval),
      gossipNodes: count(`gossip_${pool}.gossip_nodes`, preset.gossipNodes),
      probeInterval,
      probeTimeout,
      retransmitMult: count(`gossip_${pool}.retransmit_mult`, preset.retransmitMult),
      suspicionMult: count(`gossip_${pool}.suspicion_mult`, preset.suspicionMult),
      // 0 is Consul's way to say that its default applies.
      failedReapTimeout: reconnect || preset.failedReapTimeout,
    }
  }
  return { lan: settings('lan', dev ? localConfig : lanConfig), wan: settings('wan', dev ? localConfig : wanConfig) }
}
