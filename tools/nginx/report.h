/*
 * report.h - totals as text.
 */
#ifndef NGX_HTTP_CANOPY_REPORT_H
#define NGX_HTTP_CANOPY_REPORT_H

#include "module.h"

/* No text is longer, whatever the totals. */
#define NGX_HTTP_CANOPY_REPORT_BYTES 16384

/* Each writes one, and returns its end. */
u_char *ngx_http_canopy_report_html(u_char *out, const ngx_http_canopy_sum_t *sum,
                                    ngx_flag_t with_links);
u_char *ngx_http_canopy_report_json(u_char *out, const ngx_http_canopy_sum_t *sum);
/* The text format, version 0.0.4. */
u_char *ngx_http_canopy_report_prometheus(u_char *out, const ngx_http_canopy_sum_t *sum);

#endif
