/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRANSPORT_VERSION_H
#define TRANSPORT_VERSION_H

#define NVMEGW_VERSION "0.1.0"

#endif
